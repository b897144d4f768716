// SPDX-License-Identifier: Apache-2.0

package console

import "net/http"

// Decisions is what the console needs to show the arms, canaries and shadows of decisions.
type Decisions interface{}

// decisionsRoutes adds the pages of the arms, canaries and shadows of decisions.
func (c *Console) decisionsRoutes(mux *http.ServeMux) {}
