#!/usr/bin/env Rscript
# SPDX-License-Identifier: Apache-2.0
# Load every result of a run into R. Usage: read_results.R RUN
# Needs nothing for CSV and tensors, the package jsonlite for JSON.

# Tensors by name (arrays in the order of the file's shape), with the metadata as an attribute.
read_safetensors <- function(path) {
  bytes <- readBin(path, "raw", file.size(path))
  length <- sum(as.numeric(bytes[1:8]) * 256^(0:7))
  header <- jsonlite::fromJSON(rawToChar(bytes[9:(8 + length)]), simplifyVector = FALSE)
  metadata <- header[["__metadata__"]]
  header[["__metadata__"]] <- NULL
  tensors <- lapply(header, function(entry) {
    begin <- entry$data_offsets[[1]]
    end <- entry$data_offsets[[2]]
    piece <- if (end > begin) bytes[(9 + length + begin):(8 + length + end)] else raw(0)
    shape <- unlist(entry$shape)
    n <- if (is.null(shape)) 1 else prod(shape)
    values <- switch(entry$dtype,
      F32 = readBin(piece, "numeric", n, size = 4, endian = "little"),
      F64 = readBin(piece, "numeric", n, size = 8, endian = "little"),
      I32 = readBin(piece, "integer", n, size = 4, endian = "little"),
      U8 = as.integer(piece),
      BF16 = { # the upper half of a float32
        halves <- matrix(piece, nrow = 2)
        readBin(as.vector(rbind(raw(n), raw(n), halves)), "numeric", n, size = 4, endian = "little")
      },
      I64 = {
        words <- matrix(readBin(piece, "integer", 2 * n, size = 4, endian = "little"), nrow = 2)
        ifelse(words[1, ] < 0, words[1, ] + 2^32, words[1, ]) + words[2, ] * 2^32
      },
      stop("dtype not read here: ", entry$dtype))
    if (length(shape) < 2) values else aperm(array(values, rev(shape)))
  })
  attr(tensors, "metadata") <- metadata
  tensors
}

arguments <- commandArgs(trailingOnly = TRUE)
if (length(arguments) != 1) stop("usage: read_results.R RUN")
for (path in list.files(arguments[1], recursive = TRUE)) {
  full <- file.path(arguments[1], path)
  if (startsWith(path, "report/")) next
  if (endsWith(path, ".csv")) {
    table <- read.csv(full, check.names = FALSE)
    cat(path, ": ", nrow(table), " rows, columns ", paste(names(table), collapse = ", "), "\n", sep = "")
  } else if (endsWith(path, ".safetensors") && requireNamespace("jsonlite", quietly = TRUE)) {
    tensors <- read_safetensors(full)
    cat(path, ": ", paste(names(tensors), collapse = ", "), "\n", sep = "")
  }
}
