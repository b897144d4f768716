// SPDX-License-Identifier: Apache-2.0

// Package source reads the history of a source from where it is stored (CSV, Parquet
// and JSON lines files, PostgreSQL queries) as typed columns, and writes training sets
// as Parquet.
//
// # Rows and slices
//
// The inputs of a source are read in the order of their definition, the files of a
// pattern in the order of their names. Each is cut into slices: some rows of a row group,
// some lines, some rows of a result. [Reader.Next] yields them one after another;
// [Reader.ReadParallel] hands them to several goroutines, with numbers that follow the
// order. A batch has one column for each field of the source, in its order, whatever the
// input calls them; [definition.Input].Columns says what it calls them:
//
//	columns:
//	  amount: TX_AMOUNT          # the column TX_AMOUNT
//	  event_timestamp: unix_ms(ts)  # milliseconds since 1970 in the column ts
//	  is_fraud: "-"              # not in this input: null in every row
//
// A number is a time only if its unit is said, as unix_s, unix_ms, unix_us or unix_ns
// around the name of its column; it is never guessed.
//
// # What a value may look like
//
// CSV follows RFC 4180 and has a header; an empty value is null. Times are RFC 3339,
// 2006-01-02 15:04:05 or 2006-01-02, with up to nine digits behind the second, in UTC if
// they name no zone. Truth values are true and false in any case, 1 and 0. Numbers are
// decimal. JSON lines have one object each; keys that no field has are ignored. Parquet
// and PostgreSQL have types of their own, which must suit the field: a whole number is
// never made of a text, nor a text of a number.
//
// A row that is malformed, or has a value that its field does not allow (null where it
// is required, out of its range, not one of its values, infinite, not UTF-8, a time
// before 1970 of an event), is a bad row: it is left out, counted and reported by input,
// row and field, up to [Options].BadRowsMax.
//
// Invariants:
//
//	S1  What is read depends on inputs and options alone, not on the number of workers.
//	S2  No row is lost silently: it is in a batch, or it is counted as bad, or reading
//	    ends with an error.
//	S3  Memory is bounded by BatchRows and the width of rows for each worker: at most
//	    two blocks of text, or the pages that a slice needs, which slices share.
//
// A Reader is used by one goroutine; what it starts ends with Close.
package source
