// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Messages to the user, on standard error.
enum Messages {
  /// Writes one message on its own line.
  static func say(_ sentence: String) { write("diskq: \(onOneLine(sentence))\n") }

  /// Writes the message of a thrown error.
  static func say(_ error: any Error) { say(sentence(error)) }

  static func sentence(_ error: any Error) -> String {
    (error as? QueueError)?.sentence ?? "\(error)"
  }

  /// Writes text unchanged. If standard error fails, the text is dropped.
  static func write(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
      try? System.write(System.standardError, UnsafeRawBufferPointer(bytes), name: "standard error")
    }
  }

  /// The text with its control characters escaped: a path may contain a newline.
  static func onOneLine(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    var plain = ""
    for scalar in text.unicodeScalars {
      if isControl(scalar) {
        plain += scalar.escaped(asASCII: true)
      } else {
        plain.unicodeScalars.append(scalar)
      }
    }
    return plain
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
  }
}
