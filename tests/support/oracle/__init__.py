"""What `processors` computes, again and slowly: plain Python over dictionaries and histories, no arrays, no compiled code."""
