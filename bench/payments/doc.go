// SPDX-License-Identifier: Apache-2.0

// Package payments makes card payments with frauds in them, as many as wanted, for
// demos, tests and benchmarks of what reads events.
//
// Customers live somewhere, spend at terminals near them, at hours and in amounts of
// their own, less on weekends. Three kinds of fraud are mixed in:
//
//	1  a single payment of an unusually high amount for anybody
//	2  a compromised terminal: for up to 28 days most payments at it are frauds,
//	   of amounts like all others
//	3  a compromised customer: for up to 14 days a third of the payments are frauds of
//	   several times the usual amount
//
// What frauds look like shifts: over the months amounts of kinds 1 and 3 come down
// towards what is usual, and compromised terminals give way to compromised customers.
// So a model that was good in the first months is worse in later ones.
//
// Beyond that, Options.Changes names days from which on there is another [Pattern], which
// nothing before was like, while what there was fades.
//
// Kinds, durations and columns are those of the public simulated data set of the
// "Reproducible Machine Learning for Credit Card Fraud Detection" handbook (Le Borgne,
// Siblini, Lebichot, Bontempi), so that what reads one reads the other. How a world is
// drawn is different.
//
// # Invariants
//
//	W1  The same Options give the same payments, byte by byte in a file, on machines
//	    of one architecture.
//	W2  Payments come in the order of time, and ids count up from 1.
//	W3  A world of N days is the beginning of a world of N+1 days.
//	W4  A world with changes is, before the first of them, the world without.
//
// A World holds its customers, its terminals and the payments of one day. It belongs to
// one goroutine.
package payments
