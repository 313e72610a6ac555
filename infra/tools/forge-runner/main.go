// Gitea's runner, in which every job is a process of its own: a command that is given decides as whom it runs, and where.
// The path of this module lies below the runner's own, because only there its internal packages may be imported.
//
//	gitea-runner serve CONFIG COMMAND...   fetches jobs; starts `COMMAND... REPOSITORY HEAD` for each, the job on its stdin
//	gitea-runner job CONFIG                runs the job on its stdin, and ends with it whatever the job started
//
// HEAD is the repository that a pull request's branch is in, "-" for other events; everything else is Gitea's own.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	runnerv1 "code.gitea.io/actions-proto-go/runner/v1"
	"connectrpc.com/connect"
	"gitea.com/gitea/runner/internal/app/cmd"
	"gitea.com/gitea/runner/internal/app/poll"
	"gitea.com/gitea/runner/internal/app/run"
	"gitea.com/gitea/runner/internal/pkg/client"
	"gitea.com/gitea/runner/internal/pkg/config"
	"gitea.com/gitea/runner/internal/pkg/labels"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	none = "-"
	// What whoever started it waits for in its log.
	ready = "the forge knows this runner"
)

// parcel is what a job's process is handed: who the runner is, and the task as the forge sent it.
type parcel struct {
	Registration *config.Registration
	Task         []byte
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) > 3 && os.Args[1] == "serve":
		err = serve(ctx, os.Args[2], os.Args[3:])
	case len(os.Args) == 3 && os.Args[1] == "job":
		err = job(ctx, os.Args[2])
	default:
		cmd.Execute(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, file string, command []string) error {
	cfg, err := config.LoadDefault(file)
	if err != nil {
		return err
	}
	reg, err := config.LoadRegistration(cfg.Runner.File)
	if err != nil {
		return err
	}
	known, cli := labels.Labels{}, connectTo(cfg, reg)
	for _, one := range reg.Labels {
		label, err := labels.Parse(one)
		if err != nil {
			return err
		}
		known = append(known, label)
	}
	if _, err := run.NewRunner(cfg, reg, cli).Declare(ctx, known.Names()); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, ready)
	poller := poll.New(cfg, cli, &starter{cli, reg, command})
	go poller.Poll()
	<-ctx.Done()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	return poller.Shutdown(now)
}

// starter runs each task as a process.
type starter struct {
	client       client.Client
	registration *config.Registration
	command      []string
}

// Run says itself that a task failed whose process did not come to its end: the forge would wait for more of it.
func (s *starter) Run(ctx context.Context, task *runnerv1.Task) error {
	err := s.start(ctx, task)
	if err != nil {
		state := &runnerv1.TaskState{Id: task.Id, Result: runnerv1.Result_RESULT_FAILURE, StoppedAt: timestamppb.Now()}
		_, told := s.client.UpdateTask(ctx, connect.NewRequest(&runnerv1.UpdateTaskRequest{State: state}))
		err = errors.Join(err, told)
	}
	return err
}

func (s *starter) start(ctx context.Context, task *runnerv1.Task) error {
	encoded, err := proto.Marshal(task)
	if err != nil {
		return err
	}
	handed, err := json.Marshal(parcel{s.registration, encoded})
	if err != nil {
		return err
	}
	words := append(append([]string{}, s.command[1:]...), repository(task), head(task))
	process := exec.CommandContext(ctx, s.command[0], words...)
	process.Stdout, process.Stderr = os.Stderr, os.Stderr
	// A pipe: no file ever holds a job's secrets.
	stdin, err := process.StdinPipe()
	if err != nil {
		return err
	}
	if err := process.Start(); err != nil {
		return err
	}
	_, err = stdin.Write(handed)
	stdin.Close()
	if ended := process.Wait(); ended != nil {
		return ended
	}
	return err
}

func repository(task *runnerv1.Task) string {
	return task.GetContext().GetFields()["repository"].GetStringValue()
}

// head is "" where the event has a pull request of which nobody knows where its branch is.
func head(task *runnerv1.Task) string {
	pull, there := task.GetContext().GetFields()["event"].GetStructValue().GetFields()["pull_request"]
	if !there {
		return none
	}
	return field(field(pull, "head"), "repo").GetStructValue().GetFields()["full_name"].GetStringValue()
}

func field(value *structpb.Value, name string) *structpb.Value {
	return value.GetStructValue().GetFields()[name]
}

func job(ctx context.Context, file string) error {
	// Steps have this process's account where that is not root: none of them may read its memory, which holds the
	// runner's own token.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	var handed parcel
	if err := json.NewDecoder(os.Stdin).Decode(&handed); err != nil {
		return err
	}
	os.Stdin.Close()
	task := &runnerv1.Task{}
	if err := proto.Unmarshal(handed.Task, task); err != nil {
		return err
	}
	cfg, err := config.LoadDefault(file)
	if err != nil {
		return err
	}
	// Actions are cloned there, too: two jobs at once would be in each other's way.
	cfg.Host.WorkdirParent = filepath.Join(cfg.Host.WorkdirParent, strconv.FormatInt(task.Id, 10))
	if err := os.RemoveAll(cfg.Host.WorkdirParent); err != nil { // of one that was killed
		return err
	}
	defer os.RemoveAll(cfg.Host.WorkdirParent)
	return run.NewRunner(cfg, handed.Registration, attentive{connectTo(cfg, handed.Registration)}).Run(ctx, task)
}

// attentive ends every process of a job that was cancelled: Gitea's runner ends a step's shell, and waits for the rest.
type attentive struct{ client.Client }

func (a attentive) UpdateTask(
	ctx context.Context, asked *connect.Request[runnerv1.UpdateTaskRequest],
) (*connect.Response[runnerv1.UpdateTaskResponse], error) {
	answer, err := a.Client.UpdateTask(ctx, asked)
	if err == nil && answer.Msg.GetState().GetResult() == runnerv1.Result_RESULT_CANCELLED && os.Getpid() == 1 {
		// As process 1 of its namespace it reaches those alone, and not itself.
		_ = unix.Kill(-1, unix.SIGKILL)
	}
	return answer, err
}

func connectTo(cfg *config.Config, reg *config.Registration) client.Client {
	return client.New(reg.Address, cfg.Runner.Insecure, reg.UUID, reg.Token)
}
