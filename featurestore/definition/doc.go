// SPDX-License-Identifier: Apache-2.0

// Package definition reads what a project defines about features - entities, sources,
// views, lookups, services - from YAML files and makes a checked [Catalog] of it.
// docs/reference/features.md describes every key.
//
// [Load] and [Parse] report every mistake, each with file, line, column and path, and
// what would be right, up to 50 of them ([Errors]). A catalogue that loads is
// consistent: names exist and are unique, types fit, expressions compile, windows are
// within the bounds of package window, and no feature uses a label before it is known:
//
//	D1  A late field is used in view features only, with a delay not shorter than its
//	    known_after.
//	D2  A column that depends on a late field depends on nothing else but the event's
//	    id, time and keys: that is all there is when the field becomes known later.
//	D3  The field of the arrival is no value: neither views nor lookups read it.
//
// [Catalog.Hash], [Source.Hash], [View.Fingerprint], [Lookup.Fingerprint] and
// [Service.Hash] depend on what definitions mean: not on comments, layout, descriptions,
// the order of files, or where inputs lie. [Compare] says what a new catalogue would
// break for models and clients that use an old one.
//
// A catalogue is immutable and shared. Loading reads the files and, for ${NAME} in
// connection strings, the environment; nothing else here does input or output, and
// there is no goroutine.
package definition
