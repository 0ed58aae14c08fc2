"""How good a speech system is: every figure with its exact definition, from scores to one number.

trials          scores sorted once, for everything below      classification  accuracy, confusion matrix, intervals
detection       operating curve, equal error rate             keyword         false alarms and rejects of keywords
cost            detection costs, minimal and actual           language        Cavg, closed and open set
calibration     Cllr and its minimum                          errors          character and word error rate
partitions      conditions that count alike                   inputs          what all of them accept and refuse
"""
