// SPDX-License-Identifier: Apache-2.0

// Package exporters serves models that scikit-learn, LightGBM and XGBoost trained and
// their exporters wrote, and holds the answers to the exporters' own predictions. It
// consists of tests, and of the program that trains and exports.
package exporters
