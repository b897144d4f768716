// SPDX-License-Identifier: Apache-2.0

package onnxrt

import "log/slog"

// Options says where the library is and who hears of oddities in models.
type Options struct {
	// Library is the shared library's file, or a folder that holds it. Empty means
	// the environment's ONNXRUNTIME_LIB, and without that a search of the usual
	// places.
	Library string
	// Logger hears of model outputs that cannot be served. Nil means slog.Default.
	Logger *slog.Logger
}

func (o Options) logger() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.Default()
}
