// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/pflag"
)

// logOptions are the flags of the log. Each level has a switch of its own, as
// Triton's have.
type logOptions struct {
	verbose int
	info    bool
	warning bool
	error   bool
	format  string
	file    string
}

func (o *logOptions) addFlags(flags *pflag.FlagSet) {
	flags.IntVar(&o.verbose, "log-verbose", 0, "`level` of detail; 1 or more logs what helps to find faults")
	flags.BoolVar(&o.info, "log-info", true, "log what happens")
	flags.BoolVar(&o.warning, "log-warning", true, "log warnings")
	flags.BoolVar(&o.error, "log-error", true, "log errors")
	flags.StringVar(&o.format, "log-format", "default", "`form` of the log: default and text are key=value lines, json is one object a line")
	flags.StringVar(&o.file, "log-file", "", "`file` to append the log to (default: standard error)")
}

// open makes the logger, on stderr unless there is a file. The caller runs closeLog
// when it logs no more.
func (o *logOptions) open(stderr io.Writer) (log *slog.Logger, closeLog func(), err error) {
	w := stderr
	closeLog = func() {}
	if o.file != "" {
		file, err := os.OpenFile(o.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, nil, fmt.Errorf("--log-file: %w", err)
		}
		w, closeLog = file, func() { file.Close() }
	}
	handler, err := o.handler(w)
	if err != nil {
		closeLog()
		return nil, nil, err
	}
	return slog.New(handler), closeLog, nil
}

func (o *logOptions) handler(w io.Writer) (slog.Handler, error) {
	options := &slog.HandlerOptions{Level: slog.LevelDebug} // switches below decide
	var handler slog.Handler
	switch o.format {
	case "default", "text", "ISO8601":
		handler = slog.NewTextHandler(w, options)
	case "json":
		handler = slog.NewJSONHandler(w, options)
	default:
		return nil, usageError{fmt.Errorf("--log-format %q: it is default, text or json", o.format)}
	}
	return levelSwitch{handler, o.enabled}, nil
}

func (o *logOptions) enabled(level slog.Level) bool {
	switch {
	case level >= slog.LevelError:
		return o.error
	case level >= slog.LevelWarn:
		return o.warning
	case level >= slog.LevelInfo:
		return o.info
	default:
		return o.verbose > 0
	}
}

// levelSwitch passes on the records whose level is switched on.
type levelSwitch struct {
	slog.Handler
	on func(slog.Level) bool
}

func (h levelSwitch) Enabled(_ context.Context, level slog.Level) bool { return h.on(level) }

func (h levelSwitch) WithAttrs(attributes []slog.Attr) slog.Handler {
	return levelSwitch{h.Handler.WithAttrs(attributes), h.on}
}

func (h levelSwitch) WithGroup(name string) slog.Handler {
	return levelSwitch{h.Handler.WithGroup(name), h.on}
}
