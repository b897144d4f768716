// SPDX-License-Identifier: Apache-2.0

// Package exporters shows that models which other people's libraries train and
// export are served as they are: export.py makes them, the binary serves them, and
// each answer is compared with what the library itself predicts for the same rows.
//
// The training data is card-transactions/transactions.parquet in the folder that
// MILLRACE_DATA names, or else in shared/data beside the module's folder. Without it
// the test skips.
package exporters
