// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueError.Code {
  /// The name of the case, such as `noSpace`, for an answer, a log or a metric.
  ///
  /// It does not contain the loss or the number of the system's error. No version changes the name
  /// of a case.
  public var name: String {
    switch self {
    case .locked: "locked"
    case .notATopic: "notATopic"
    case .noSuchTopic: "noSuchTopic"
    case .unsupportedFormat: "unsupportedFormat"
    case .invalidOption: "invalidOption"
    case .payloadTooLarge: "payloadTooLarge"
    case .closed: "closed"
    case .cancelled: "cancelled"
    case .notARecord: "notARecord"
    case .addressesExhausted: "addressesExhausted"
    case .damaged: "damaged"
    case .cleaned: "cleaned"
    case .discarded: "discarded"
    case .beyondLatest: "beyondLatest"
    case .notCoded: "notCoded"
    case .noSpace: "noSpace"
    case .syncFailed: "syncFailed"
    case .fileRemoved: "fileRemoved"
    case .damagedCursor: "damagedCursor"
    case .noSuchConsumer: "noSuchConsumer"
    case .alreadyExists: "alreadyExists"
    case .system: "system"
    }
  }
}
