// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// The command line. Data goes to standard output, everything else to standard error.
@main
struct Diskq: ParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "diskq",
    abstract: "Appends to, reads, consumes, cleans and examines disk queues.",
    discussion: """
      A topic is a directory. Sizes are written as 64MiB, 4KiB or plain bytes, ages as 90s, 15m, 2h \
      or 7d, addresses as decimal numbers.

      The exit status is 0 if it was done, 1 if damage or loss was found, 2 if it could not be done, \
      and 64 for wrong usage.
      """,
    version: version,
    subcommands: [
      AppendCommand.self, ReadCommand.self, ConsumeCommand.self, ConsumersCommand.self,
      CleanCommand.self, InfoCommand.self, VerifyCommand.self, RepairCommand.self,
      DumpCommand.self, BenchCommand.self,
    ])

  static func main() {
    System.occupyStandardDescriptors()
    System.ignoreSignalsOfWrites()
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as QueueError {
      Messages.say(error)
      System.leave(Status.failed)
    } catch let error as Failure {
      Messages.say(error)
      System.leave(Status.failed)
    } catch {
      // Help, the version, wrong usage, and the statuses of commands that were done.
      exit(withError: error)
    }
  }
}
