// SPDX-License-Identifier: Apache-2.0

#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// Kinds of products: of floats, and of unsigned with signed bytes into int32.
enum { beside_f32, beside_u8 };

// beside_open prepares c = a * b, of m x k and k x n values in rows. b is laid out anew
// at once; a is read and c written by each run. It is NULL where there is no such
// product.
void *beside_open(int kind, int m, int n, int k, void *a, void *b, void *c);

// beside_run does the product. It is 0 when that went well.
int beside_run(void *product);

void beside_close(void *product);

#ifdef __cplusplus
}
#endif
