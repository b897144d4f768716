// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/millrace-ml/millrace/proto/inference"
)

const predictExample = `  millrace predict --model simple --input 'INPUT0=[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]' \
                                  --input 'INPUT1=[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]'
  millrace predict --model ranker --json request.json --format json
  echo '{"inputs":[{"name":"INPUT0","data":["a","b"]}]}' | millrace predict --model simple_identity --json -
  millrace predict --model repeat_int32 --stream --input IN=[4,2,0] --input DELAY=[1,2,3] --input WAIT=[5]
` + entityExample

// predictOptions are the flags of the predict command.
type predictOptions struct {
	client  clientOptions
	model   string
	version string
	id      string
	inputs  []string
	shapes  []string
	outputs []string
	json    string
	stream  bool
	format  string
	entity  entityOptions
}

func newPredictCommand() *cobra.Command {
	var o predictOptions
	cmd := &cobra.Command{
		Use:   "predict --model NAME (--input NAME=JSON ... | --json FILE) | --entity KEY=VALUE ...",
		Short: "Ask a server for a prediction or a decision",
		Long: `Ask a model server for a prediction over gRPC.

Inputs are JSON arrays, nested or flat. Datatypes and shapes come from the model's
metadata where they are not given; a flat array of one row's length is one row.

` + entityLong,
		Example: predictExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.entity.asked(cmd.Flags()) {
				return o.runEntity(cmd)
			}
			return o.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	o.client.addFlags(flags)
	flags.StringVar(&o.model, "model", "", "`name` of the model")
	flags.StringVar(&o.version, "model-version", "", "version or alias (default: the model's current version)")
	flags.StringVar(&o.id, "request-id", "", "id that the server repeats in its answer")
	flags.StringArrayVar(&o.inputs, "input", nil, "input as `NAME=JSON`; repeat for each input")
	flags.StringArrayVar(&o.shapes, "shape", nil, "shape of an input as `NAME:D1,D2`; repeat as needed")
	flags.StringArrayVar(&o.outputs, "output", nil, "`name` of an output wanted; repeat as needed (default: all)")
	flags.StringVar(&o.json, "json", "", "`file` with a request in the REST form of the protocol; - reads standard input")
	flags.BoolVar(&o.stream, "stream", false, "send the request on a stream and print each response as it comes")
	o.entity.addFlags(flags, &o.client)
	flags.StringVar(&o.format, "format", "table", "`form` of the answer: table, or json for one line a response")
	return cmd
}

func (o *predictOptions) validate() error {
	var problems []error
	if o.model == "" {
		problems = append(problems, errors.New("--model NAME is missing"))
	}
	if (len(o.inputs) == 0) == (o.json == "") {
		problems = append(problems, errors.New("give the inputs either by --input or by --json"))
	}
	if o.json != "" && (len(o.shapes) > 0 || len(o.outputs) > 0 || o.id != "") {
		problems = append(problems, errors.New("--shape, --output and --request-id go into the file of --json"))
	}
	if o.format != "table" && o.format != "json" {
		problems = append(problems, fmt.Errorf("--format %q: it is table or json", o.format))
	}
	if len(problems) > 0 {
		return usageError{errors.Join(problems...)}
	}
	return nil
}

func (o *predictOptions) run(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	if err := o.validate(); err != nil {
		return err
	}
	request, err := o.readRequest(stdin)
	if err != nil {
		return err
	}
	ctx, conn, done, err := o.client.connect(ctx)
	if err != nil {
		return err
	}
	defer done()

	client := inference.NewGRPCInferenceServiceClient(conn)
	metadata, err := client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: o.model, Version: o.version})
	if err != nil {
		return o.client.explain(err)
	}
	message, err := request.message(o.model, o.version, metadata)
	if err != nil {
		return err
	}
	show := printTable
	if o.format == "json" {
		show = printJSON
	}
	send := sendUnary
	if o.stream {
		send = sendStream
	}
	return send(ctx, client, message, func(response *inference.ModelInferResponse, err error) error {
		if err != nil {
			return o.client.explain(err)
		}
		return show(stdout, response)
	})
}

// readRequest reads the request from the flags, or from the file that they name.
func (o *predictOptions) readRequest(stdin io.Reader) (*jsonRequest, error) {
	switch o.json {
	case "":
		return requestFromFlags(o.id, o.inputs, o.shapes, o.outputs)
	case "-":
		return parseRequest("standard input", stdin)
	}
	file, err := os.Open(o.json)
	if err != nil {
		return nil, fmt.Errorf("--json: %w", err)
	}
	defer file.Close()
	return parseRequest(o.json, file)
}

// responseFunc receives a response, or the error of a call.
type responseFunc func(*inference.ModelInferResponse, error) error

func sendUnary(ctx context.Context, client inference.GRPCInferenceServiceClient, request *inference.ModelInferRequest, receive responseFunc) error {
	return receive(client.ModelInfer(ctx, request))
}

// sendStream sends one request and receives responses until the server ends the
// stream. Errors of the model come in band, without a code.
func sendStream(ctx context.Context, client inference.GRPCInferenceServiceClient, request *inference.ModelInferRequest, receive responseFunc) error {
	stream, err := client.ModelStreamInfer(ctx)
	if err != nil {
		return receive(nil, err)
	}
	if err := sendOnly(stream, request); err != nil {
		return receive(nil, err)
	}
	for {
		response, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return receive(nil, err)
		case response.ErrorMessage != "":
			return errors.New(response.ErrorMessage)
		}
		if err := receive(response.InferResponse, nil); err != nil {
			return err
		}
	}
}

// sendOnly sends a request and ends the sending side. A stream that the server
// ended already reports io.EOF here and its real status to Recv.
func sendOnly(stream grpc.BidiStreamingClient[inference.ModelInferRequest, inference.ModelStreamInferResponse], request *inference.ModelInferRequest) error {
	if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return stream.CloseSend()
}
