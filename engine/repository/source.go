// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

const (
	configName      = "config.pbtxt"
	configBytesMax  = 4 << 20
	modelEntriesMax = 100_000 // files and folders of one model
)

// fingerprint identifies the state of a set of files by their names, sizes and
// times of modification.
type fingerprint [sha256.Size]byte

// source is a model's files as an operation found them. Whoever opened it closes
// it.
type source struct {
	model string
	dir   string
	root  *os.Root // of dir; what is read through it cannot lie outside

	shared   fingerprint           // of all that belongs to every version
	versions map[int64]fingerprint // of each version's folder

	configText []byte // config.pbtxt, nil when there is none
	configJSON string // instead of config.pbtxt, when not empty
	folder     *overlay
}

// openSource reads the state of a model's folder. configJSON, when not empty, takes
// the place of its config.pbtxt.
func openSource(model, dir, configJSON string) (*source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("model %q: %w", model, err)
	}
	s := &source{model: model, dir: dir, root: root, configJSON: configJSON, versions: make(map[int64]fingerprint)}
	if err := errors.Join(s.takeFingerprints(), s.readConfig()); err != nil {
		return nil, fmt.Errorf("model %q: %w", model, errors.Join(err, s.close()))
	}
	return s, nil
}

// close lets go of the files. Versions opened from them keep what they need.
func (s *source) close() error {
	return errors.Join(s.root.Close(), s.folder.release())
}

// takeFingerprints walks the model's folder without reading any file. A symbolic
// link that leads out of the folder is an error.
func (s *source) takeFingerprints() error {
	shared := sha256.New()
	fmt.Fprintf(shared, "%q %q\n", s.dir, s.configJSON)
	versions := make(map[int64]hash.Hash)
	entries := 0
	err := fs.WalkDir(s.root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entries++; entries > modelEntriesMax {
			return fmt.Errorf("folder holds more than %d files", modelEntriesMax)
		}
		info, err := s.root.Stat(path)
		if err != nil {
			return fmt.Errorf("%s cannot be used; a link must not lead out of the model's folder: %w", path, err)
		}
		top, _, _ := strings.Cut(path, "/")
		number, isVersion := versionFolder(top)
		if isVersion && path == top && info.IsDir() {
			versions[number] = sha256.New()
		}
		into := versions[number]
		if into == nil {
			into = shared
		}
		writeEntry(into, path, info)
		return nil
	})
	if err != nil {
		return err
	}
	shared.Sum(s.shared[:0])
	for number, h := range versions {
		h.Write(s.shared[:])
		s.versions[number] = fingerprint(h.Sum(nil))
	}
	return nil
}

// writeEntry leaves out the times and sizes of folders: they change when a version
// is added beside the others.
func writeEntry(h hash.Hash, path string, info fs.FileInfo) {
	if info.IsDir() {
		fmt.Fprintf(h, "%q\n", path)
		return
	}
	fmt.Fprintf(h, "%q %d %d\n", path, info.Size(), info.ModTime().UnixNano())
}

// fingerprint is of the whole model.
func (s *source) fingerprint() fingerprint {
	h := sha256.New()
	h.Write(s.shared[:])
	for _, number := range s.available() {
		sum := s.versions[number]
		h.Write(strconv.AppendInt(nil, number, 10))
		h.Write(sum[:])
	}
	return fingerprint(h.Sum(nil))
}

// available lists the versions there are, sorted.
func (s *source) available() []int64 {
	return slices.Sorted(maps.Keys(s.versions))
}

func (s *source) versionDir(number int64) string {
	return filepath.Join(s.dir, strconv.FormatInt(number, 10))
}

func (s *source) readConfig() error {
	if s.configJSON != "" {
		return nil
	}
	text, err := s.readFile(configName, configBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s.configText = text
	return err
}

// readFile reads a file of the model's folder that has at most bytesMax bytes.
func (s *source) readFile(path string, bytesMax int64) ([]byte, error) {
	info, err := s.root.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path) // opening a pipe would wait
	}
	file, err := s.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, bytesMax+1))
	if err == nil && int64(len(data)) > bytesMax {
		err = fmt.Errorf("%s is larger than %d bytes", path, bytesMax)
	}
	return data, err
}

// config parses the model's configuration. Each call returns a copy of its own.
func (s *source) config() (*modelconfig.Config, error) {
	switch {
	case s.configJSON != "":
		return modelconfig.ParseJSON([]byte(s.configJSON))
	case s.configText != nil:
		c, err := modelconfig.ParseText(s.configText)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", configName, err)
		}
		return c, nil
	default:
		return &modelconfig.Config{}, nil
	}
}

// fileless is implemented by backends whose models may consist of a configuration
// alone.
type fileless interface{ NeedsFiles() bool }

func needsFiles(b engine.Backend) bool {
	f, ok := b.(fileless)
	return !ok || f.NeedsFiles()
}

// assumeVersion gives a model without any version folder a version 1, where its
// backend needs no files.
func (s *source) assumeVersion(b engine.Backend) {
	if len(s.versions) == 0 && !needsFiles(b) {
		s.versions[1] = s.shared
	}
}
