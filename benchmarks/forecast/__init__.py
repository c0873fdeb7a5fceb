"""How good the forecast is; the data are not kept here."""
