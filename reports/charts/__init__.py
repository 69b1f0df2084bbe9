"""What a comparison's charts show, drawn by matplotlib or by plotly."""
