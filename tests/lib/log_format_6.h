/* What a test makes an old log of the coordinator with, to see it upgraded. */
#ifndef VOW_TESTS_LOG_FORMAT_6_H
#define VOW_TESTS_LOG_FORMAT_6_H

/* Of a log whose open transaction is 1 and whose ended one is 2 (log_fixture.h) makes one of that
 * format, whose records were longer (record.c), as a vowd of that format wrote it. */
#define MAKE_FORMAT_6                                                                        \
  "UPDATE open_txn SET checksum = -4581652270228566919, record = '"                          \
  "{\"id\":\"018bcfe5-6801-7001-8000-000000001eef\",\"state\":\"committing\",\"crea"         \
  "ted\":\"2023-11-14T22:13:20.001Z\",\"updated\":\"2023-11-14T22:13:20.009Z\",\"de"         \
  "adline\":\"2023-11-14T22:14:20.001Z\",\"branches\":[{\"branch\":1,\"name\":\"ban"         \
  "k-a\",\"url\":\"http://bank-a:7001\",\"state\":\"prepared\",\"vote\":\"commit\","         \
  "\"attempts\":1},{\"branch\":2,\"name\":\"bank-b\",\"url\":\"http://bank-b:7001\""         \
  ",\"state\":\"prepared\",\"vote\":\"commit\",\"attempts\":1}],\"history\":[[0,1],"         \
  "[0,3],[1,5,1],[1,5,2],[3,6,2,1,\"commit\"],[3,6,1,1,\"commit\"]]}"                        \
  "' WHERE place = 55705600000032776;"                                                       \
  "UPDATE ended_txn SET position = 2, created_ms = 1700000000002, ended_ms = 1700000000009," \
  " checksum = -5218496847952783738, record = '"                                             \
  "{\"id\":\"018bcfe5-6802-7002-8000-000000003dde\",\"state\":\"committed\",\"creat"         \
  "ed\":\"2023-11-14T22:13:20.002Z\",\"updated\":\"2023-11-14T22:13:20.009Z\",\"dea"         \
  "dline\":\"2023-11-14T22:14:20.002Z\",\"ended\":\"2023-11-14T22:13:20.009Z\",\"br"         \
  "anches\":[{\"branch\":1,\"name\":\"bank-a\",\"url\":\"http://bank-a:7001\",\"sta"         \
  "te\":\"committed\",\"vote\":\"commit\",\"outcome\":\"committed\",\"attempts\":2}"         \
  ",{\"branch\":2,\"name\":\"bank-b\",\"url\":\"http://bank-b:7001\",\"state\":\"co"         \
  "mmitted\",\"vote\":\"commit\",\"outcome\":\"committed\",\"attempts\":2}],\"histo"         \
  "ry\":[[0,1],[0,3],[5,8,0,1,\"commit\"],[7,10,2,1,\"committed\"],[7,16]]}"                 \
  "';"                                                                                       \
  "PRAGMA user_version = 6;"

#endif
