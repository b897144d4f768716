// SPDX-License-Identifier: Apache-2.0

package console

import "net/http"

// Evaluations is what the console needs to show the reports of evaluations, side by side.
type Evaluations interface{}

// evaluationsRoutes adds the pages of the reports of evaluations, side by side.
func (c *Console) evaluationsRoutes(mux *http.ServeMux) {}
