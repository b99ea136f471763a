// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

#if canImport(System)
  public import System

  extension Topic {
    /// Names the topic in a directory, as ``init(_:)`` does with a string.
    public init(_ path: FilePath) { self.init(path.string) }
  }
#endif
