// SPDX-License-Identifier: Apache-2.0

// Package exporters shows that models which other people's libraries train and
// export are served as they are: export.py makes them, the binary serves them on each
// of its backends, and each answer is compared with what the library itself predicts
// for the same rows.
//
// TestExportedModels trains and exports all models anew. It needs the data sets, in
// the folder that MILLRACE_DATA names or else in shared/data beside the module's
// folder, and the exporters: those of requirements.txt are fetched, and where
// MILLRACE_EXPORTERS is "all" also those of requirements-more.txt, which are large.
// MILLRACE_EXPORTERS may also name a Python interpreter that has exporters already.
// What is lacking skips, with the reason.
//
// TestFixtures does the same with small models kept in testdata, some of every
// exporter, at each level of the CPU. It needs neither data sets nor Python.
// testdata/manifest.json says which versions wrote them; to write them anew:
//
//	python -B export.py --fixtures DATA testdata
package exporters
