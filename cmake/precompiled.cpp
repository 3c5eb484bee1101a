// The targets of cmake/PrecompiledHeaders.cmake need a source; what counts is the header compiled beside it.
