/* What a test makes an old log of the coordinator with, to see it upgraded. */
#ifndef VOW_TESTS_LOG_FORMAT_5_H
#define VOW_TESTS_LOG_FORMAT_5_H

/* Makes a log one of that format, whose open rows had other columns and which had more indexes.
 * (The checksum of a row is that of the columns it does not have, too.) */
#define MAKE_FORMAT_5                                                                         \
  "CREATE TABLE old_txn(id BLOB NOT NULL PRIMARY KEY, position INTEGER NOT NULL,"             \
  " state INTEGER NOT NULL, heuristic INTEGER NOT NULL, kept INTEGER NOT NULL,"               \
  " created_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, key TEXT, record TEXT NOT NULL,"  \
  " checksum INTEGER NOT NULL) STRICT;"                                                       \
  "INSERT INTO old_txn SELECT id, place, 0, 0, 0, 0, 0, key, record, checksum FROM open_txn;" \
  "DROP TABLE open_txn; ALTER TABLE old_txn RENAME TO open_txn;"                              \
  "CREATE INDEX open_by_key ON open_txn(key) WHERE key IS NOT NULL;"                          \
  "CREATE INDEX ended_by_time ON ended_txn(ended_ms) WHERE kept = 0;"                         \
  "PRAGMA user_version = 5;"

#endif
