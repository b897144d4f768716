// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// LibraryEnv is the environment variable that names the library or its folder.
const LibraryEnv = "ONNXRUNTIME_LIB"

// projectFolder is where the project's own script installs the library, relative
// to the working folder or to the binary.
const projectFolder = ".millrace/onnxruntime/lib"

// explicitLibrary is the library that the user named, if any: nothing else is
// tried then, since running another one than asked for would be worse than none.
func explicitLibrary(opts Options) string {
	if opts.Library != "" {
		return opts.Library
	}
	return os.Getenv(LibraryEnv)
}

// libraryPlaces lists where to look for the library, in order: files, folders, and
// bare names for the dynamic loader to find.
func libraryPlaces(opts Options) []string {
	if named := explicitLibrary(opts); named != "" {
		if !filepath.IsAbs(named) {
			// Never a bare name, which the loader would look up elsewhere.
			named = "." + string(filepath.Separator) + named
		}
		return []string{named}
	}
	var places []string
	if cwd, err := os.Getwd(); err == nil {
		places = append(places, filepath.Join(cwd, projectFolder))
	}
	if exe, err := os.Executable(); err == nil {
		folder := filepath.Dir(exe)
		places = append(places, filepath.Join(folder, projectFolder), filepath.Join(filepath.Dir(folder), projectFolder))
	}
	if cache, err := os.UserCacheDir(); err == nil {
		places = append(places, filepath.Join(cache, "millrace", "onnxruntime"))
	}
	places = append(places, loaderNames()...)
	return append(places, "/usr/local/lib", "/opt/onnxruntime/lib")
}

// loaderNames are the names under which the system's dynamic loader may know the
// library.
func loaderNames() []string {
	if runtime.GOOS == "darwin" {
		return []string{"libonnxruntime.dylib"}
	}
	return []string{"libonnxruntime.so", "libonnxruntime.so.1"}
}

// libraryFile turns a place into what the dynamic loader is to open.
func libraryFile(place string) (string, error) {
	if !strings.ContainsRune(place, filepath.Separator) {
		return place, nil
	}
	info, err := os.Stat(place)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return place, nil
	}
	for _, folder := range []string{place, filepath.Join(place, "lib")} {
		if file := libraryIn(folder); file != "" {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: no libonnxruntime in this folder", place)
}

// libraryIn finds the library in a folder: the name without a version comes first
// in order, then the lowest versions. Provider libraries do not match.
func libraryIn(folder string) string {
	for _, pattern := range []string{"libonnxruntime.so*", "libonnxruntime.*dylib"} {
		if files, err := filepath.Glob(filepath.Join(folder, pattern)); err == nil && len(files) > 0 {
			return slices.Min(files)
		}
	}
	return ""
}

// loadedLibrary is the file that a bare name was loaded from, where the system
// tells; name itself otherwise.
func loadedLibrary(name string) string {
	if strings.ContainsRune(name, filepath.Separator) {
		return name
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return name
	}
	for line := range strings.Lines(string(maps)) {
		if at := strings.IndexByte(line, '/'); at >= 0 {
			path := strings.TrimSpace(line[at:])
			if strings.HasPrefix(filepath.Base(path), "libonnxruntime.") {
				return path
			}
		}
	}
	return name
}
