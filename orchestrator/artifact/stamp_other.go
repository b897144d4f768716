// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package artifact

import "os"

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{Size: info.Size(), Mtime: info.ModTime().UnixNano(), Ctime: info.ModTime().UnixNano()}, nil
}
