// Package statusutil words an error of the OTLP exporter. It stands in for upstream's internal module of the same name,
// which some module proxies do not carry; whether a request is retried is decided elsewhere.
package statusutil

import (
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// meanings are what the gRPC documentation gives for HTTP answers that come from no gRPC server.
var meanings = map[int]codes.Code{
	http.StatusBadRequest:         codes.InvalidArgument,
	http.StatusUnauthorized:       codes.Unauthenticated,
	http.StatusForbidden:          codes.PermissionDenied,
	http.StatusNotFound:           codes.Unimplemented,
	http.StatusTooManyRequests:    codes.ResourceExhausted,
	http.StatusBadGateway:         codes.Unavailable,
	http.StatusServiceUnavailable: codes.Unavailable,
	http.StatusGatewayTimeout:     codes.Unavailable,
}

// NewStatusFromMsgAndHTTPCode is the message with the code that an HTTP answer stands for; Unknown where there is none.
func NewStatusFromMsgAndHTTPCode(message string, answer int) *status.Status {
	code, known := meanings[answer]
	if !known {
		code = codes.Unknown
	}
	return status.New(code, message)
}
