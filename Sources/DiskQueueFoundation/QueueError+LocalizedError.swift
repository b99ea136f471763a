// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

#if canImport(FoundationEssentials)
  public import FoundationEssentials
#else
  public import Foundation
#endif

extension QueueError: LocalizedError {
  /// The message as a sentence, followed by the path and the address.
  ///
  /// `localizedDescription` returns it, also for a value of the type `any Error`. The text is in
  /// English.
  public var errorDescription: String? {
    var text = message
    // Not the name of an option, such as maximumBytes.
    let firstWord = text.prefix { $0.isLetter }
    if firstWord.allSatisfy(\.isLowercase), text.dropFirst(firstWord.count).first == " " {
      text = firstWord.prefix(1).uppercased() + text.dropFirst()
    }
    if !text.hasSuffix(".") { text += "." }
    if let path, !path.isEmpty { text += " Path: \(path)." }
    if let address { text += " Address: \(address)." }
    return text
  }
}
