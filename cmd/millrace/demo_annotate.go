// SPDX-License-Identifier: Apache-2.0

package main

import "context"

// annotate labels until ctx ends.
func (d *demo) annotate(ctx context.Context) { <-ctx.Done() }
