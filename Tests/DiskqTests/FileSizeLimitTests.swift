// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@Suite("Where no file may grow beyond a limit")
struct FileSizeLimitTests {
  @Test("G14: append ends with an error, and keeps what it took")
  func append() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    // 64 blocks have 512 or 1,024 bytes each, as the shell counts them. ThreadSanitizer begins with
    // a file of 512 KiB if it finds a directory for it, and dies if the file is shorter.
    let outcome = try Diskq.shell(
      "ulimit -f 64; export TMPDIR=/dev/null; seq 1 100000 | exec \"$0\" append \"$1\"", topic)
    #expect(outcome.status == 2)
    #expect(outcome.errors.contains("writing a slab"), "\(outcome.errors)")
    let lines = try Diskq.run("read", topic).lines
    #expect(lines == (0..<lines.count).map { "\($0 + 1)" })
    #expect(lines.count > 1000)
    #expect(try Diskq.run("verify", topic).status == 0)
  }
}
