# SPDX-License-Identifier: Apache-2.0
"""Models of other people's libraries, exported as they export them, and what the
libraries themselves predict: one module of cases for each family of models."""
