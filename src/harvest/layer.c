/* SPDX-License-Identifier: Apache-2.0 */
/* Replaced by the first source file of this layer. */
extern int xci_layer_harvest;
int xci_layer_harvest = 0;
