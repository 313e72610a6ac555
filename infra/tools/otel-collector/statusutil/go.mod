module go.opentelemetry.io/collector/internal/statusutil

go 1.26.4

require google.golang.org/grpc v1.83.2

require (
	golang.org/x/sys v0.47.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260526163538-3dc84a4a5aaa // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)
