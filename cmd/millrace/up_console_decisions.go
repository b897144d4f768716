// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/console"

// showDecisions gives the console the arms, canaries and shadows of decisions.
func (u *up) showDecisions(o *console.Options, parts *upParts) {}
