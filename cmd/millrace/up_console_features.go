// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/console"

// showFeatures gives the console the features of the project.
func (u *up) showFeatures(o *console.Options, parts *upParts) {}

// showEvaluations gives the console the reports of evaluations.
func (u *up) showEvaluations(o *console.Options) {}
