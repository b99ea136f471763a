// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The operations that a program can request. A fault strikes at each call of each of them.
enum PublicOperation: String, CaseIterable {
  case openNewTopic, openCleanTopic, openUncleanTopic, openVersion1Topic, openOverDamage
  case append, appendBatch, appendEnsuring, appendIfRoom, appendLongRecord, appendAtCap
  case dropOldest, dropOldestAcknowledged, roll
  case flush, sync, closeWriter, flushEvery, syncEvery, flushAndSyncByTime
  case readEarliest, readLatest, readFromAddress, readFromOrdinal, readFromTime, readAgo
  case readRecordAt, readOverDamage, readVersion1, readThroughSequence, waitForMore
  case openConsumer, nextBatch, acknowledge, acknowledgeThrough, acknowledgeOnly, deadLetter
  case acknowledgeWithin, settleConsumer
  case resetConsumer, resetByName, deleteConsumer, listConsumers, closeConsumer
  case openChannel, send, receive, acknowledgeMessage, settleChannel, putMessageAside
  case closeChannel
  case clean, planCleaning, runCleaner
  case info, verify, describeSlabs, describeConsumers, dumpTo
}
