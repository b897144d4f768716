// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Hash computes the digest of a file or a folder where it lies.
func Hash(ctx context.Context, path string) (Info, error) {
	return hashPath(ctx, path, false)
}

// hashPath hashes a file or folder. With seal it makes all durable, and files read-only.
func hashPath(ctx context.Context, path string, seal bool) (Info, error) {
	root, err := os.Lstat(path)
	if err != nil {
		return Info{}, fmt.Errorf("hash artifact: %w", err)
	}
	if !root.IsDir() {
		sum, size, err := hashFile(ctx, path, root.Mode(), seal)
		return Info{Digest: Digest(filePrefix + sum), Bytes: size, Files: 1}, err
	}
	info := Info{}
	var t tree
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == path {
			return err
		}
		if entry.IsDir() && seal {
			return syncDir(name)
		}
		if entry.IsDir() {
			return nil
		}
		sum, size, err := hashFile(ctx, name, entry.Type(), seal)
		if err != nil {
			return err
		}
		info.Bytes += size
		info.Files++
		return t.add(path, name, Digest(filePrefix+sum))
	})
	if err == nil && seal {
		err = syncDir(path)
	}
	info.Digest = t.digest()
	return info, err
}

// tree is the listing of a folder.
type tree struct{ lines []string }

func (t *tree) add(root, path string, d Digest) error {
	name, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	name = filepath.ToSlash(name)
	if strings.Count(name, "/") >= DepthMax {
		return fmt.Errorf("%w: %s is more than %d folders deep", ErrContent, path, DepthMax)
	}
	if len(t.lines) == FilesMax {
		return fmt.Errorf("%w: %s has more than %d files: pack them", ErrContent, root, FilesMax)
	}
	t.lines = append(t.lines, fmt.Sprintf("%s %q\n", d, name))
	return nil
}

func (t *tree) digest() Digest {
	// A quoted name has no line feed, and all digests have the same length.
	slices.SortFunc(t.lines, func(a, b string) int {
		return strings.Compare(a[len(filePrefix)+2*sha256.Size:], b[len(filePrefix)+2*sha256.Size:])
	})
	h := sha256.New()
	for _, line := range t.lines {
		h.Write([]byte(line))
	}
	return Digest(treePrefix + hex.EncodeToString(h.Sum(nil)))
}

func hashFile(ctx context.Context, path string, mode fs.FileMode, seal bool) (sum string, size int64, err error) {
	if !mode.IsRegular() {
		return "", 0, fmt.Errorf("%w: %s is a link or a device, not a file", ErrContent, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", 0, fmt.Errorf("hash artifact: %w", err)
	}
	h := sha256.New()
	size, err = copyTo(ctx, h, f)
	if err == nil && seal {
		err = cmp.Or(f.Chmod(0o444), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", 0, fmt.Errorf("hash artifact %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}
