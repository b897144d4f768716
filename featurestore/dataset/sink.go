// SPDX-License-Identifier: Apache-2.0

package dataset

import "github.com/millrace-ml/millrace/featurestore/column"

var testSink func(*column.Batch)
