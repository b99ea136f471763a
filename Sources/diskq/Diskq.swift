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
      A topic is a directory. Sizes are written as 4096, 64MiB or 10M: KiB, MiB, GiB and TiB are powers \
      of 1,024, and k, M, G and T, or kB, MB, GB and TB, of 1,000, so that 10M is 10,000,000 bytes. Times \
      and ages are written as 200ms, 90s, 15m, 1.5h, 1d12h or 2w, addresses as decimal numbers.

      The exit status is 0 if it was done, 1 if damage or loss was found, 2 if it could not be done, \
      and 64 for wrong usage.

      Ctrl-C, SIGTERM and SIGHUP stop every command. Where a stop is the only end there is (--follow, \
      info --watch, append from a pipe or a terminal) the status is as above. Otherwise the work is \
      not done: the command ends by the signal, which a shell shows as 130, 143 or 129, and what it \
      has changed until then is said. When nobody reads standard output any more, commands that print \
      what is there end with 0.
      """,
    version: version,
    subcommands: [
      AppendCommand.self, ReadCommand.self, ConsumeCommand.self, ConsumersCommand.self,
      CleanCommand.self, InfoCommand.self, VerifyCommand.self, RepairCommand.self,
      DumpCommand.self, BenchCommand.self,
    ])

  static func main() {
    System.occupyStandardDescriptors()
    System.prepareSignals()
    System.endOnSignalsAsFirstProcess()
    guard hasArguments(CommandLine.arguments) else {
      Messages.say(
        "the arguments of this process cannot be read: mount /proc (mount -t proc proc /proc), and"
          + " start it with its name as the first argument")
      System.leave(Status.usage)
    }
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as QueueError {
      Messages.say(error)
      System.leave(Status.failed)
    } catch let error as Failure {
      Messages.say(error)
      System.leave(Status.failed)
    } catch let error as Interrupted {
      System.end(bySignal: error.signal)
    } catch {
      // Help, the version, wrong usage, and the statuses of commands that were done.
      exit(withError: error)
    }
  }

  /// Whether there is at least this program's name. Swift reads the arguments from /proc and takes
  /// them for none where that is missing. Linux puts an empty one where a program is started with
  /// none.
  static func hasArguments(_ arguments: [String]) -> Bool {
    arguments.count > 1 || arguments.first?.isEmpty == false
  }
}
