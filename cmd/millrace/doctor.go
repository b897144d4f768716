// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"
)

// doctorOptions are the flags of the doctor command.
type doctorOptions struct {
	repositories []string
	httpPort     uint16
	grpcPort     uint16
	metricsPort  uint16
}

func newDoctorCommand() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether this machine is fit to serve, and say what to do where it is not",
		Long: `Check whether this machine is fit to serve, and say what to do where it is not.

Each line is ok, warn (it works, but less well) or fail (models will not load).
Exit status 1 when any line is fail.`,
		Example: `  millrace doctor
  millrace doctor --model-repository models`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return reportFindings(cmd.OutOrStdout(), o.examine(os.DirFS("/"), openRuntime))
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.repositories, "model-repository", nil, "`folder` of models to check too; repeat as needed")
	flags.Uint16Var(&o.httpPort, "http-port", defaultHTTPPort, "REST port to check")
	flags.Uint16Var(&o.grpcPort, "grpc-port", defaultGRPCPort, "gRPC port to check")
	flags.Uint16Var(&o.metricsPort, "metrics-port", defaultMetricsPort, "metrics port to check")
	return cmd
}

// severity is how bad a finding is.
type severity string

const (
	ok   severity = "ok"
	warn severity = "warn"
	fail severity = "fail"
)

// finding is what one check says. Advice is what to do; it is empty when all is well.
type finding struct {
	severity severity
	subject  string
	detail   string
	advice   string
}

// examine runs all checks. system is the root of the file system, where the kernel
// describes the machine.
func (o *doctorOptions) examine(system fs.FS, open func() (runtimeFacts, error)) []finding {
	findings := []finding{
		checkProcessor(),
		checkCores(system),
		checkMemory(system),
		checkOpenFiles(system),
	}
	findings = append(findings, checkRuntime(open)...)
	for _, port := range []struct {
		name   string
		number uint16
	}{{"http", o.httpPort}, {"grpc", o.grpcPort}, {"metrics", o.metricsPort}} {
		findings = append(findings, checkPort(port.name, port.number))
	}
	for _, folder := range o.repositories {
		findings = append(findings, checkRepository(folder))
	}
	return findings
}

// reportFindings prints one line each and returns an error when one is fail.
func reportFindings(w io.Writer, findings []finding) error {
	failed := 0
	for _, f := range findings {
		line := fmt.Sprintf("%-4s  %-12s %s", f.severity, f.subject, f.detail)
		if f.advice != "" {
			line += "\n      " + fmt.Sprintf("%-12s -> %s", "", f.advice)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
		if f.severity == fail {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(findings))
	}
	return nil
}

func checkPort(name string, port uint16) finding {
	f := finding{severity: ok, subject: name + " port", detail: fmt.Sprintf("%d is free", port)}
	listener, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(int(port))))
	if err != nil {
		f.severity, f.detail = warn, fmt.Sprintf("%d: %v", port, err)
		f.advice = fmt.Sprintf("a server may be running already; else choose another with --%s-port, 0 for any", name)
		return f
	}
	listener.Close()
	return f
}

func checkRepository(folder string) finding {
	f := finding{severity: fail, subject: "repository"}
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.detail, f.advice = folder+" does not exist", "millrace demo-repository "+folder+" writes one with small models"
		return f
	case err != nil:
		f.detail, f.advice = err.Error(), "give the server's user the right to read it"
		return f
	}
	models := 0
	for _, entry := range entries {
		if info, err := os.Stat(folder + "/" + entry.Name()); err == nil && info.IsDir() {
			models++
		}
	}
	if models == 0 {
		f.severity, f.detail = warn, folder+" has no model folders"
		f.advice = "the layout is MODEL/VERSION/model.onnx, such as " + folder + "/ranker/1/model.onnx"
		return f
	}
	f.severity, f.detail = ok, fmt.Sprintf("%s: %d model folders", folder, models)
	return f
}
