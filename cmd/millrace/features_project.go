// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"os"
)

// projectHere is the project in the current folder, nil if there is none.
func projectHere() (*project, error) {
	if _, err := os.Stat(projectFile); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return loadProject(".")
}
