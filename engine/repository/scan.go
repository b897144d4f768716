// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// scan lists the models of all repositories, sorted. Hidden folders, such as the
// ones version control keeps, are not models. A name that two repositories hold is
// listed once; locate refuses it.
func (r *Repository) scan() ([]string, error) {
	var names []string
	for _, path := range r.opts.Paths {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("model repository: %w", err)
		}
		for _, entry := range entries {
			name := entry.Name()
			if !strings.HasPrefix(name, ".") && modelconfig.CheckModelName(name) == nil && isFolder(path, entry) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// isFolder follows a symbolic link, which a model's folder may be.
func isFolder(path string, entry fs.DirEntry) bool {
	if entry.Type()&fs.ModeSymlink == 0 {
		return entry.IsDir()
	}
	info, err := os.Stat(filepath.Join(path, entry.Name()))
	return err == nil && info.IsDir()
}

// locate finds the folder of a model. The error matches fs.ErrNotExist when no
// repository holds the model, and ErrDuplicate when two do.
func (r *Repository) locate(name string) (string, error) {
	found := ""
	for _, path := range r.opts.Paths {
		dir := filepath.Join(path, name)
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return "", fmt.Errorf("model %q: %w", name, err)
		case !info.IsDir():
			continue
		case found != "":
			return "", fmt.Errorf("model %q: %w", name, ErrDuplicate)
		}
		found = dir
	}
	if found == "" {
		return "", fmt.Errorf("model %q is in no model repository: %w", name, fs.ErrNotExist)
	}
	return found, nil
}

// versionFolder reads the name of a version's folder. As in other servers of this
// layout, anything but a positive number without leading zeros is not a version.
func versionFolder(name string) (int64, bool) {
	if name == "" || name[0] == '0' || strings.Trim(name, "0123456789") != "" {
		return 0, false
	}
	number, err := strconv.ParseInt(name, 10, 64)
	return number, err == nil
}

// chooseVersions applies a version policy to the versions there are, which must be
// sorted.
func chooseVersions(policy *modelconfig.VersionPolicy, available []int64) []int64 {
	switch {
	case policy != nil && policy.All != nil:
		return available
	case policy != nil && policy.Specific != nil:
		return slices.DeleteFunc(slices.Clone(available), func(number int64) bool {
			return !slices.Contains(policy.Specific.Versions, number)
		})
	}
	latest := 1
	if policy != nil && policy.Latest != nil && policy.Latest.NumVersions > 0 {
		latest = int(policy.Latest.NumVersions)
	}
	return available[max(0, len(available)-latest):]
}
