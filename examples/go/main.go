// An example of a caller in Go: makes a model ready, loses its stream, finds the work again, and asks for health.
//
//	go generate && go run . -model tiny
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	modelcontrol "modelcontrol.ichat/gen/go/ichat/modelcontrol/v1"
)

var (
	model   = flag.String("model", "tiny", "the model")
	backend = flag.String("backend", "", "the backend; the server's first when empty")
	leave   = flag.Bool("leave", false, "leave the stream at the first word of progress, and follow the operation instead")
)

func main() {
	flag.Parse()
	// The deadline bounds our patience, not the work: that belongs to the server.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		tell(err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	connection, err := connect()
	if err != nil {
		return err
	}
	defer connection.Close()
	result, operation, err := ensure(ctx, modelcontrol.NewModelControlClient(connection))
	if err != nil {
		return err
	}
	if result == nil {
		if result, err = follow(ctx, modelcontrol.NewOperationsClient(connection), operation); err != nil {
			return err
		}
	}
	fmt.Printf("%s on %s is ready: %s\n", result.Model.Name, result.Model.Backend, result.Model.Digest)

	for _, name := range []string{"", "backends/" + result.Model.Backend,
		"backends/" + result.Model.Backend + "/models/" + result.Model.CanonicalName} {
		answer, err := health.NewHealthClient(connection).Check(ctx, &health.HealthCheckRequest{Service: name})
		if err != nil {
			return err
		}
		fmt.Printf("health of %q: %s\n", name, answer.Status)
	}
	return nil
}

// ensure returns the result, or the operation that goes on when the stream was left.
func ensure(ctx context.Context, client modelcontrol.ModelControlClient) (*modelcontrol.EnsureReadyResult, string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // leaves the stream; the work goes on unless every caller asked for ON_DISCONNECT_CANCEL
	stream, err := client.EnsureReady(ctx, &modelcontrol.EnsureReadyRequest{Backend: *backend, Model: *model})
	if err != nil {
		return nil, "", err
	}
	operation := ""
	for {
		event, err := stream.Recv()
		switch {
		case err == io.EOF:
			return nil, "", errors.New("the stream ended without a result")
		case status.Code(err) == codes.Unavailable && operation != "":
			// The connection or the server went away in the middle. A server that is back knows the operation by its id.
			return nil, operation, nil
		case err != nil:
			return nil, "", err
		}
		if result := event.GetResult(); result != nil {
			return result, "", nil
		}
		operation = event.GetProgress().OperationId
		show(event.GetProgress())
		if *leave {
			return nil, operation, nil
		}
	}
}

// follow waits for an operation's end. A broken stream is taken up after the last snapshot that was seen.
func follow(ctx context.Context, client modelcontrol.OperationsClient, id string) (*modelcontrol.EnsureReadyResult, error) {
	var seen int64
	for attempt := 0; ; attempt++ {
		stream, err := client.Watch(ctx, &modelcontrol.OperationsWatchRequest{OperationId: id, AfterSequence: seen})
		for err == nil {
			var event *modelcontrol.OperationsWatchResponse
			if event, err = stream.Recv(); err != nil {
				break
			}
			if progress := event.GetProgress(); progress != nil {
				seen, attempt = progress.Sequence, 0
				show(progress)
				continue
			}
			ended := event.GetOperation()
			fmt.Printf("operation %s ended: %s\n", id, ended.State)
			if failure := ended.GetFailure(); failure != nil {
				return nil, fmt.Errorf("%s: %s", failure.Reason, failure.Message)
			}
			if ended.GetEnsureReady() == nil {
				return nil, fmt.Errorf("operation %s gave no result", id)
			}
			return ended.GetEnsureReady(), nil
		}
		if status.Code(err) != codes.Unavailable || attempt == 5 {
			return nil, err
		}
	}
}

func show(progress *modelcontrol.Progress) {
	phase := "waiting"
	if phases := progress.Phases; len(phases) > 0 {
		phase = phases[len(phases)-1].Phase
	}
	fmt.Printf("%s: %d of %d bytes\n", phase, progress.CompletedBytes, progress.GetTotalBytes())
}

// tell says what a status holds: programs decide by the reason, never by the message.
func tell(err error) {
	fmt.Fprintln(os.Stderr, "error:", status.Convert(err).Message())
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Fprintln(os.Stderr, "reason:", detail.Reason, detail.Metadata)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Fprintf(os.Stderr, "field %s: %s\n", violation.Field, violation.Description)
			}
		case *errdetails.RetryInfo:
			fmt.Fprintln(os.Stderr, "come back in", detail.RetryDelay.AsDuration())
		}
	}
}
