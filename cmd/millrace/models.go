// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// modelsOptions are the flags that all commands below `millrace models` share.
type modelsOptions struct {
	client clientOptions
	json   bool
}

// server is a connection to a model server with its two services.
type server struct {
	admin     millracev1.AdminClient
	inference inference.GRPCInferenceServiceClient
}

func newModelsCommand() *cobra.Command {
	o := new(modelsOptions)
	cmd := &cobra.Command{
		Use:   "models",
		Short: "See and change what a model server serves",
		Long: `See and change what a model server serves.

load and unload without --version work with any server of the dialect; the other
commands that change something, and list and explain-batching, need Millrace.
explain and attributions work on files and need no server.`,
		Example: `  millrace models list
  millrace models swap ranker                    # to the highest version in the repository
  millrace models rollback ranker
  millrace models alias ranker champion 3
  millrace models explain-batching ranker
  millrace models explain models/ranker          # the plan of the native engine
  millrace models attributions models/fraud --data payments.csv`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	o.client.addFlags(cmd.PersistentFlags())
	cmd.PersistentFlags().BoolVar(&o.json, "json", false, "answer in JSON instead of a table")
	cmd.AddCommand(
		o.listCommand(), o.loadCommand(), o.unloadCommand(), o.swapCommand(), o.rollbackCommand(),
		o.aliasCommand(), o.aliasesCommand(), o.explainCommand(), o.configCommand(), o.statsCommand(),
		o.optimizeCommand(),
		o.planCommand(), o.attributionsCommand(),
	)
	return cmd
}

// ask connects, makes one call and shows its answer: as JSON when asked for, else by
// table, or not at all where table is nil and the answer empty.
func ask[T proto.Message](o *modelsOptions, cmd *cobra.Command, call func(context.Context, server) (T, error), table func(io.Writer, T) error) error {
	ctx, conn, done, err := o.client.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer done()
	answer, err := call(ctx, newServer(conn))
	if err != nil {
		return o.client.explain(err)
	}
	if o.json {
		return writeProtoJSON(cmd.OutOrStdout(), answer)
	}
	return table(cmd.OutOrStdout(), answer)
}

func newServer(conn *grpc.ClientConn) server {
	return server{millracev1.NewAdminClient(conn), inference.NewGRPCInferenceServiceClient(conn)}
}

// writeProtoJSON writes a message in protobuf's JSON form, indented. protojson varies
// its own spacing from build to build, so that is not used.
func writeProtoJSON(w io.Writer, message proto.Message) error {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(message)
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, indented.String())
	return err
}

func (o *modelsOptions) listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list [MODEL]", Short: "List the versions of models with their state", Args: cobra.MaximumNArgs(1),
		Example: `  millrace models list
  millrace models list ranker --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &millracev1.ListModelsRequest{Model: firstOf(args)}
			return ask(o, cmd, func(ctx context.Context, s server) (*millracev1.ListModelsResponse, error) {
				return s.admin.ListModels(ctx, request)
			}, printModels)
		},
	}
}

func (o *modelsOptions) loadCommand() *cobra.Command {
	var number int64
	cmd := &cobra.Command{
		Use: "load MODEL", Short: "Load a model, or one version of it beside those served", Args: cobra.ExactArgs(1),
		Example: `  millrace models load ranker
  millrace models load ranker --version 3`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if number == 0 {
				return o.loadModel(cmd, args[0])
			}
			request := &millracev1.LoadVersionRequest{Model: args[0], Version: number}
			return ask(o, cmd, func(ctx context.Context, s server) (*millracev1.LoadVersionResponse, error) {
				return s.admin.LoadVersion(ctx, request)
			}, printLoad)
		},
	}
	addVersionFlag(cmd, &number, "version to load (default: those that the model's version policy names)")
	return cmd
}

func (o *modelsOptions) loadModel(cmd *cobra.Command, model string) error {
	request := &inference.RepositoryModelLoadRequest{ModelName: model}
	return ask(o, cmd, func(ctx context.Context, s server) (*inference.RepositoryModelLoadResponse, error) {
		return s.inference.RepositoryModelLoad(ctx, request)
	}, func(w io.Writer, _ *inference.RepositoryModelLoadResponse) error {
		_, err := fmt.Fprintf(w, "loaded %s\n", model)
		return err
	})
}

func (o *modelsOptions) unloadCommand() *cobra.Command {
	var number int64
	cmd := &cobra.Command{
		Use: "unload MODEL", Short: "Unload a model, or one version of it", Args: cobra.ExactArgs(1),
		Example: `  millrace models unload ranker
  millrace models unload ranker --version 2`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if number == 0 {
				return o.unloadModel(cmd, args[0])
			}
			request := &millracev1.UnloadVersionRequest{Model: args[0], Version: number}
			return ask(o, cmd, func(ctx context.Context, s server) (*millracev1.UnloadVersionResponse, error) {
				return s.admin.UnloadVersion(ctx, request)
			}, printUnload)
		},
	}
	addVersionFlag(cmd, &number, "version to unload (default: all of them)")
	return cmd
}

func (o *modelsOptions) unloadModel(cmd *cobra.Command, model string) error {
	request := &inference.RepositoryModelUnloadRequest{ModelName: model}
	return ask(o, cmd, func(ctx context.Context, s server) (*inference.RepositoryModelUnloadResponse, error) {
		return s.inference.RepositoryModelUnload(ctx, request)
	}, func(w io.Writer, _ *inference.RepositoryModelUnloadResponse) error {
		_, err := fmt.Fprintf(w, "unloading %s: new requests are refused, those in flight finish\n", model)
		return err
	})
}

func (o *modelsOptions) swapCommand() *cobra.Command {
	var number int64
	var keepOld bool
	cmd := &cobra.Command{
		Use: "swap MODEL", Short: "Replace the served version by another without a pause", Args: cobra.ExactArgs(1),
		Example: `  millrace models swap ranker               # to the highest version in the repository
  millrace models swap ranker --version 2 --keep-old`,
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &millracev1.SwapVersionRequest{Model: args[0], Version: number, KeepOld: keepOld}
			return ask(o, cmd, func(ctx context.Context, s server) (*millracev1.SwapVersionResponse, error) {
				return s.admin.SwapVersion(ctx, request)
			}, printSwap)
		},
	}
	addVersionFlag(cmd, &number, "version to serve (default: the highest in the repository)")
	cmd.Flags().BoolVar(&keepOld, "keep-old", false, "keep the old version loaded, so that a rollback is instant")
	return cmd
}

func (o *modelsOptions) rollbackCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rollback MODEL", Short: "Swap back to the version served before the last swap", Args: cobra.ExactArgs(1),
		Example: `  millrace models rollback ranker`,
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &millracev1.RollbackRequest{Model: args[0]}
			return ask(o, cmd, func(ctx context.Context, s server) (*millracev1.SwapVersionResponse, error) {
				return s.admin.Rollback(ctx, request)
			}, printSwap)
		},
	}
}

func (o *modelsOptions) aliasCommand() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use: "alias MODEL ALIAS VERSION", Short: "Point an alias at a version, or remove it with --remove", Args: cobra.RangeArgs(2, 3),
		Example: `  millrace models alias ranker champion 3
  millrace models alias ranker champion --remove`,
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &millracev1.SetAliasRequest{Model: args[0], Alias: args[1]}
			if remove != (len(args) == 2) {
				return usageError{errors.New("give either a VERSION or --remove")}
			}
			if !remove {
				var err error
				if request.Version, err = parseVersion(args[2]); err != nil {
					return err
				}
			}
			return ask(o, cmd, func(ctx context.Context, s server) (*millracev1.SetAliasResponse, error) {
				return s.admin.SetAlias(ctx, request)
			}, func(w io.Writer, answer *millracev1.SetAliasResponse) error { return printAlias(w, request, answer) })
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove the alias")
	return cmd
}

func (o *modelsOptions) aliasesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "aliases [MODEL]", Short: "List aliases", Args: cobra.MaximumNArgs(1),
		Example: `  millrace models aliases`,
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &millracev1.ListAliasesRequest{Model: firstOf(args)}
			return ask(o, cmd, func(ctx context.Context, s server) (*millracev1.ListAliasesResponse, error) {
				return s.admin.ListAliases(ctx, request)
			}, printAliases)
		},
	}
}

func (o *modelsOptions) explainCommand() *cobra.Command {
	var number int64
	cmd := &cobra.Command{
		Use: "explain-batching MODEL", Short: "Say why the batches of a model have the size they have", Args: cobra.ExactArgs(1),
		Example: `  millrace models explain-batching ranker`,
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &millracev1.ExplainBatchingRequest{Model: args[0], Version: number}
			return ask(o, cmd, func(ctx context.Context, s server) (*millracev1.ExplainBatchingResponse, error) {
				return s.admin.ExplainBatching(ctx, request)
			}, printBatching)
		},
	}
	addVersionFlag(cmd, &number, "version to explain (default: the current one)")
	return cmd
}

func (o *modelsOptions) configCommand() *cobra.Command {
	var number int64
	cmd := &cobra.Command{
		Use: "config MODEL", Short: "Print a model's completed configuration as JSON", Args: cobra.ExactArgs(1),
		Example: `  millrace models config ranker`,
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &inference.ModelConfigRequest{Name: args[0], Version: versionName(number)}
			return ask(o, cmd, func(ctx context.Context, s server) (*inference.ModelConfig, error) {
				answer, err := s.inference.ModelConfig(ctx, request)
				return answer.GetConfig(), err
			}, func(w io.Writer, config *inference.ModelConfig) error { return writeProtoJSON(w, config) })
		},
	}
	addVersionFlag(cmd, &number, "version (default: the current one)")
	return cmd
}

func (o *modelsOptions) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "stats [MODEL]", Short: "Print counts and mean times of requests since each version was loaded", Args: cobra.MaximumNArgs(1),
		Example: `  millrace models stats
  millrace models stats ranker --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &inference.ModelStatisticsRequest{Name: firstOf(args)}
			return ask(o, cmd, func(ctx context.Context, s server) (*inference.ModelStatisticsResponse, error) {
				return s.inference.ModelStatistics(ctx, request)
			}, printStatistics)
		},
	}
}

// addVersionFlag adds --version with the given meaning of leaving it out.
func addVersionFlag(cmd *cobra.Command, number *int64, usage string) {
	cmd.Flags().Var((*versionFlag)(number), "version", usage)
}

// versionFlag is a flag that takes a model version.
type versionFlag int64

func (v *versionFlag) String() string { return versionName(int64(*v)) }
func (v *versionFlag) Type() string   { return "version" }

func (v *versionFlag) Set(text string) error {
	number, err := parseVersion(text)
	*v = versionFlag(number)
	return err
}

func parseVersion(text string) (int64, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 1 {
		return 0, usageError{fmt.Errorf("version %q: it is a whole number above 0", text)}
	}
	return number, nil
}

// versionName is a version as the inference protocol writes it; none for 0.
func versionName(number int64) string {
	if number == 0 {
		return ""
	}
	return strconv.FormatInt(number, 10)
}

func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
