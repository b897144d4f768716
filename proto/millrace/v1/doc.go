// SPDX-License-Identifier: Apache-2.0

// Package millracev1 is the wire form of Millrace's own services, generated from the
// .proto files beside it by proto/_gen.
package millracev1
