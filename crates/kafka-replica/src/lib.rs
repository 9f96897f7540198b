//! A partition as leader: log, high watermark, parked requests.
