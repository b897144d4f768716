// SPDX-License-Identifier: Apache-2.0

package console

import "net/http"

// Features is what the console needs to show the features of the project, with their distributions.
type Features interface{}

// featuresRoutes adds the pages of the features of the project, with their distributions.
func (c *Console) featuresRoutes(mux *http.ServeMux) {}
