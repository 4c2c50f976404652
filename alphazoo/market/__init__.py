"""Market: files -> prices, calendar and universe as dense panels."""
