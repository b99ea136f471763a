// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

#if canImport(FoundationEssentials)
  public import FoundationEssentials
#else
  public import Foundation
#endif

extension Topic {
  /// Names the topic in the directory of a file URL. Nothing is opened or created yet.
  ///
  /// Slashes at the end of the URL's path do not count. A URL gets one if its directory already
  /// exists, and a topic's name must not depend on that.
  ///
  /// ```swift
  /// import DiskQueueFoundation
  /// import Foundation
  ///
  /// let topic = try Topic(URL.temporaryDirectory.appending(path: "sensors"))
  /// ```
  ///
  /// - Throws: `notATopic` if the URL is not a file URL, or its path is empty or not valid UTF-8.
  public init(_ url: URL) throws(QueueError) {
    guard url.isFileURL else {
      throw QueueError(
        .notATopic,
        "a topic is a directory, but the URL is not a file URL: make one with URL(filePath:)",
        path: url.absoluteString)
    }
    var path = url.absoluteURL.path(percentEncoded: false)[...]
    while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
    guard !path.isEmpty else {
      throw QueueError(
        .notATopic,
        "a topic is a directory, but the URL's path is empty or not valid UTF-8: name another path",
        path: url.absoluteString)
    }
    self.init(path)
  }
}
