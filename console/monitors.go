// SPDX-License-Identifier: Apache-2.0

package console

import "net/http"

// Monitors is what the console needs to show monitors and their alarms.
type Monitors interface{}

// monitorsRoutes adds the pages of monitors and their alarms.
func (c *Console) monitorsRoutes(mux *http.ServeMux) {}
