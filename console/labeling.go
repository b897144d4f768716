// SPDX-License-Identifier: Apache-2.0

package console

import "net/http"

// Labeling is what the console needs to show what people label.
type Labeling interface{}

// labelingRoutes adds the pages of what people label.
func (c *Console) labelingRoutes(mux *http.ServeMux) {}
